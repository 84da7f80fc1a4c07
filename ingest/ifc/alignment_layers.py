"""The layers `alignment` (centre lines) and `referent` (points with stations) of one IFC model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ingest.ifc import batch as ifc_batch
from ingest.ifc.centre_line import CHORD_M, GAP_M, CentreLine, Unusable, centre_line
from ingest.ifc.placement import Facts, Placement
from layers import catalogue
from layers.issue import Issue, Reject
from layers.source import FeatureBatch, VectorLayer

_N_TOLD = 20


@dataclass
class Alignments:
    """Alignments of a surveyed model on the map.

    Attributes
    ----------
    name : of the file
    facts, placement : of the model
    """

    name: str
    facts: Facts
    placement: Placement
    lines: dict[int, CentreLine] = field(default_factory=dict)

    def layers(self) -> list[VectorLayer]:
        """One layer for lines and one for points, where the file has any."""
        place, found = self.placement, []
        for layer_id, kind, key in (("alignment", "LineString", "alignments"), ("referent", "Point", "referents")):
            if self.facts[key]:
                layer = VectorLayer(layer_id, layer_id, place.crs, lambda: iter(()), place.vertical_crs)
                layer.geometry_type = kind
                layer.batches = self._lines_of(layer) if key == "alignments" else self._points_of(layer)
                found.append(layer)
        return found

    def _lines_of(self, layer: VectorLayer) -> Any:
        def batches() -> Iterator[FeatureBatch]:
            layer.n_read = len(self.facts["alignments"])
            layer.issues.clear()
            layer.rejects.clear()
            rows, geometries, seen = [], [], set[str]()
            for number, each in enumerate(self.facts["alignments"]):
                row = _row(each, self.name)
                if _is_repeated(row, seen, layer):
                    continue
                try:
                    geometry, facts = self._drawn(number, each, layer)
                except Unusable as error:
                    message = f"No line can be made of {row['ifc_class']}: {error}."
                    layer.rejects.append(Reject("IFC_NO_ALIGNMENT_LINE", row["ifc_guid"], message, row))
                    continue
                rows.append(row | facts)
                geometries.append(geometry)
            if rows:
                yield ifc_batch.batch(catalogue.layer_type(layer.layer_type), rows, geometries, None)
            layer.issues += self._cants()

        return batches

    def _line(self, number: int) -> CentreLine:
        """The line of the n-th alignment, made once. Raises Unusable."""
        if number not in self.lines:
            each = self.facts["alignments"][number]
            if each["wrong"]:
                raise Unusable(f"its layout cannot be read ({each['wrong']})")
            self.lines[number] = centre_line(each, self.facts["unit_m"])
        return self.lines[number]

    def _drawn(
        self, number: int, each: Mapping[str, Any], layer: VectorLayer
    ) -> tuple[shapely.Geometry, dict[str, Any]]:
        """Geometry and the attributes that follow from the layout; notes become issues."""
        if not each["horizontal"] and each["polyline"]:
            points = np.array([(*corner, 0.0)[:3] for corner in each["polyline"]], np.float64) * self.facts["unit_m"]
            has_heights = len(each["polyline"][0]) > 2
            facts: dict[str, Any] = {
                "length_m": float(np.hypot(*np.diff(points[:, :2], axis=0).T).sum()),
                "has_profile": has_heights,
            }
            if not np.isfinite(points).all():
                raise Unusable("its points are not finite")
        else:
            line = self._line(number)
            points, has_heights = line.sampled(), line.profile is not None
            sharpest = max(turn.sharpest() for turn in line.turns)
            facts = {"length_m": line.length, "has_profile": has_heights, "start_station_m": self._start_station(each)}
            facts["min_radius_m"] = 1 / sharpest if sharpest else None
            _tell(line.notes, each, layer)
        placed = self._on_map(points, each)
        geometry = shapely.linestrings(placed if has_heights else placed[:, :2])
        if not has_heights:
            _tell(["it has no vertical layout, so its line has no heights"], each, layer)
        return geometry, facts

    def _on_map(self, points: NDArray[np.float64], each: Mapping[str, Any]) -> NDArray[np.float64]:
        if each["placement"] is not None:
            frame = np.array(each["placement"], np.float64)
            points = points @ frame[:3, :3].T + frame[:3, 3] * self.facts["unit_m"]
        return self.placement.to_map(points)

    def _start_station(self, each: Mapping[str, Any]) -> float | None:
        """Station at the start of the line, by the referent with a station that is nearest to it."""
        mine = [
            (abs(one["along"]["distance"]), one["station"] - one["along"]["distance"])
            for one in self.facts["referents"]
            if one["along"] and one["station"] is not None and one["along"]["curve"] in each["curves"]
        ]
        return min(mine)[1] * float(self.facts["unit_m"]) if mine else None

    def _cants(self) -> list[Issue]:
        count = sum(each["cant"] is not None for each in self.facts["alignments"])
        if not count:
            return []
        message = f"The cant of {count} alignments is not in their lines: they are the centre lines without it."
        return [Issue("IFC_CANT_NOT_READ", self.name, message, severity="info")]

    def _points_of(self, layer: VectorLayer) -> Any:
        def batches() -> Iterator[FeatureBatch]:
            layer.n_read = len(self.facts["referents"])
            layer.issues.clear()
            layer.rejects.clear()
            rows, geometries, seen, apart = [], [], set[str](), [0.0]
            for each in self.facts["referents"]:
                row = _row(each, self.name)
                if _is_repeated(row, seen, layer):
                    continue
                at, owner = self._located(each, apart)
                if at is None or not np.isfinite(at).all():
                    message = f"The position of {row['ifc_class']} cannot be read."
                    layer.rejects.append(Reject("IFC_NO_POSITION", row["ifc_guid"], message, row))
                    continue
                station = each["station"]
                row["station_m"] = None if station is None else station * self.facts["unit_m"]
                row["distance_m"] = each["along"]["distance"] * self.facts["unit_m"] if each["along"] else None
                row["alignment_id"] = owner
                rows.append(row)
                geometries.append(shapely.points(at))
            if rows:
                yield ifc_batch.batch(catalogue.layer_type(layer.layer_type), rows, geometries, None)
            if max(apart) > GAP_M:
                count = sum(each > GAP_M for each in apart)
                message = (
                    f"{count} referents lie up to {max(apart):.3f} m from where their distance along the alignment "
                )
                message += "puts them; the distance counts."
                layer.issues.append(Issue("IFC_CONTRADICTION", self.name, message, "Export the model again."))

        return batches

    def _located(self, each: Mapping[str, Any], apart: list[float]) -> tuple[NDArray[np.float64] | None, str | None]:
        """Map point of a referent and the GlobalId of its alignment; what the file says beside it is compared."""
        said, owner, found = each["at"], None, None
        unit_m = self.facts["unit_m"]
        in_model = None if said is None else self.placement.to_map(np.array([said], np.float64) * unit_m)[0]
        if each["along"]:
            for number, alignment in enumerate(self.facts["alignments"]):
                if each["along"]["curve"] in alignment["curves"]:
                    owner = alignment["row"]["ifc_guid"]
                    found = self._along(number, alignment, each["along"])
                    break
        if found is None:
            return in_model, owner
        if in_model is not None:
            apart.append(float(np.linalg.norm((found - in_model)[:2])) * self.placement.crs_unit_m)
        return found, owner

    def _along(self, number: int, alignment: Mapping[str, Any], along: Mapping[str, Any]) -> NDArray[np.float64] | None:
        try:
            line = self._line(number)
        except Unusable:
            return None
        unit_m = self.facts["unit_m"]
        points, headings = line.at(np.array([along["distance"] * unit_m]))
        cosine, sine = np.cos(headings[0]), np.sin(headings[0])
        aside = np.array(
            [
                along["ahead"] * cosine - along["left"] * sine,
                along["ahead"] * sine + along["left"] * cosine,
                along["up"],
            ]
        )
        return self._on_map(points + aside * unit_m, alignment)[0]


def _row(each: Mapping[str, Any], name: str) -> dict[str, Any]:
    row = {key: value for key, value in each["row"].items() if key not in {"id", "ancestors", "has_parts"}}
    return row | {"model": name}


def _is_repeated(row: Mapping[str, Any], seen: set[str], layer: VectorLayer) -> bool:
    guid = row["ifc_guid"]
    if guid not in seen:
        seen.add(guid)
        return False
    message = f"GlobalId {guid} is used by an earlier product of this file."
    layer.rejects.append(Reject("IFC_DUPLICATE_GUID", guid, message, dict(row)))
    return True


def _tell(notes: Sequence[str], each: Mapping[str, Any], layer: VectorLayer) -> None:
    """Notes about one alignment as issues; at most 20 of them one by one."""
    guid = each["row"]["ifc_guid"]
    for note in notes[:_N_TOLD]:
        message = f"Of the alignment {each['row']['name'] or guid}: {note}."
        hint = f"The line is drawn as the file says, to {CHORD_M * 100:.0f} cm; check it in the road or rail program."
        layer.issues.append(Issue("IFC_ALIGNMENT", guid, message, hint))
    if len(notes) > _N_TOLD:
        layer.issues.append(Issue("IFC_ALIGNMENT", guid, f"{len(notes) - _N_TOLD} more such places."))
