"""The first reading of a CityGML file: what is in it, in which CRS, and what must be kept for the second."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from lxml import etree

from ingest import place
from ingest.citygml import appearance as citygml_appearance
from ingest.citygml.attributes import TooManyValues, attributes
from ingest.citygml.crs import Reference, is_swapped, understand
from ingest.citygml.objects import CityObject, features, is_utility
from ingest.citygml.store import SideStore
from ingest.citygml.stream import Element, Member, local, members
from layers.certificate import Certificate
from layers.crs import Bounds
from layers.errors import CityTwinError, InvalidInput
from layers.issue import Issue
from layers.source import Hints

MAX_COLUMNS = 1500
"""Columns of one layer; what else its objects have goes into one column `more`."""

MIXED = "\0mixed"
"""Stands for the `srsName` of an object that states several systems."""

MAX_SYSTEMS = 50
SAMPLED = 2000
"""Objects of one system that are looked at to see whether they can be in it."""

_SRS = etree.XPath("descendant-or-self::*/@srsName")


@dataclass
class System:
    """One coordinate system of the file.

    Attributes
    ----------
    reference, swapped : how it is understood; `swapped` if the first stored coordinate is north
    certificate : of everything in it
    refusal : why objects in it cannot be used, or None
    """

    reference: Reference | None = None
    swapped: bool = False
    certificate: Certificate | None = None
    refusal: CityTwinError | None = None


@dataclass
class Survey:
    """What the first reading found.

    Attributes
    ----------
    srs, dimension : of the envelope of the whole model
    counts : (layer, srsName or empty for the model's own) -> objects
    types : CityJSON type -> objects
    columns : layer -> column names in the order they came
    samples : srsName -> first two coordinates, as stored, of one point of each of its first objects
    skipped : what is not read, by name
    """

    path: Path
    name: str
    version: str = ""
    srs: str = ""
    dimension: int = 3
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    columns: dict[str, dict[str, None]] = field(default_factory=dict)
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    store: SideStore = field(default_factory=SideStore)
    systems: dict[str, System] = field(default_factory=dict)

    def srs_of(self, made: CityObject) -> str:
        """The `srsName` of an object: its own, empty for the model's, `MIXED` for several."""
        stated = {str(each).strip() for each in _SRS(made.element)}
        if not stated or stated == {self.srs}:
            return ""
        if len(stated) == 1:
            return stated.pop()
        found = {_crs_or_text(each) for each in stated}
        return min(stated) if len(found) == 1 else MIXED


def _crs_or_text(stated: str) -> str:
    try:
        reference = understand(stated)
    except InvalidInput:
        return stated
    return reference.crs + str(reference.is_legacy) if reference else ""


def survey(path: Path, name: str) -> Survey:
    """Read the file once. Raises InvalidInput as `citygml_stream.members` does."""
    found = Survey(path, name)
    for member in members(path, name):
        found.version = found.version or member.version
        if member.kind == "envelope":
            _envelope(found, member.element)
        elif member.kind == "appearance":
            citygml_appearance.keep(member.element, found.store, found.skipped)
        else:
            _member(found, member)
    if found.store.wanted:
        for member in members(path, name):
            if member.kind == "object":
                found.store.keep_links(member.element)
    return found


def _envelope(found: Survey, element: Element) -> None:
    found.srs = element.get("srsName", "").strip() or found.srs
    if element.get("srsDimension", "").strip() == "2":
        found.dimension = 2


def _member(found: Survey, member: Member) -> None:
    if is_utility(member.element):
        found.skipped[f"{local(member.element)} (UtilityNetwork ADE)"] += 1
        return
    for each in member.element.iter("{*}Appearance"):
        citygml_appearance.keep(each, found.store, found.skipped)
    found.store.note_links(member.element)
    for made in features(member.element):
        _object(found, made)


def _object(found: Survey, made: CityObject) -> None:
    srs = found.srs_of(made)
    if len(found.samples) >= MAX_SYSTEMS and srs not in found.samples:
        srs = MIXED
    layer = made.layer
    found.types[made.object_type] += 1
    found.counts[layer, srs] += 1
    for region in made.regions:
        for role in region.skipped:
            found.skipped[f"lod geometry {role}"] += 1
    columns = found.columns.setdefault(layer, {})
    if len(columns) < MAX_COLUMNS:
        with suppress(TooManyValues):  # the object is rejected when it is read
            columns.update(dict.fromkeys(attributes(made.element)))
    _sample(found, srs, made)


def _sample(found: Survey, srs: str, made: CityObject) -> None:
    samples = found.samples.setdefault(srs, [])
    if len(samples) >= SAMPLED:
        return
    for region in made.regions:
        for each in region.places:
            # the coordinates of a template are in a frame of their own
            inner = each.element.iter("{*}referencePoint") if "Implicit" in each.role else [each.element]
            first = next((at for top in inner for at in top.iter("{*}posList", "{*}pos")), None)
            if first is not None and (point := _two(first.text or "")) is not None:
                samples.append(point)
                return


def _two(text: str) -> tuple[float, float] | None:
    try:
        first, second = (float(word) for word in text[:200].split()[:2])
    except ValueError:
        return None
    return (first, second) if np.isfinite([first, second]).all() else None


def _box(samples: list[tuple[float, float]]) -> Bounds | None:
    """The box of the middle half: a bad object is rejected when it is read, and must not condemn the file."""
    if not samples:
        return None
    low, high = np.percentile(np.array(samples), [25, 75], axis=0, method="nearest")
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def place_all(found: Survey, hints: Hints) -> list[Issue]:
    """Fill `systems`. Raises CrsMissing or InvalidInput when nothing of the file can be placed."""
    issues: list[Issue] = []
    for _, srs in found.counts:
        if srs not in found.systems:
            found.systems[srs] = _system(found, srs, hints, issues)
    refusals = [each.refusal for each in found.systems.values() if each.refusal is not None]
    if len(refusals) == len(found.systems):
        raise refusals[0]
    issues += [
        Issue(each.code, found.name, f"Some objects cannot be placed: {each.problem}", each.hint, "error")
        for each in refusals
    ]
    return issues


def _system(found: Survey, srs: str, hints: Hints, issues: list[Issue]) -> System:
    if srs == MIXED:
        problem = "Objects have geometry in several coordinate systems."
        return System(refusal=InvalidInput(problem, "Export them in one.", code="CRS_MIXED"))
    stated = srs or found.srs
    try:
        reference = _reference(stated, found, hints)
        stored = _box(found.samples[srs])
        swapped, told = is_swapped(reference, stored, hints, found.name)
        bounds = None
        if stored is not None:
            bounds = (stored[1], stored[0], stored[3], stored[2]) if swapped else stored
        certificate, more = place.certificate(reference.crs if stated else None, hints, found.name, bounds)
    except CityTwinError as error:
        return System(refusal=error)
    issues += [*told, *more]
    return System(reference, swapped, certificate)


def _reference(stated: str, found: Survey, hints: Hints) -> Reference:
    try:
        reference = understand(stated)
    except InvalidInput as error:
        if hints.crs is None:
            raise place.missing(found.name, f" ({stated[:80]!r} is none that is known)") from error
        reference = None
    if reference is not None:
        return reference
    if hints.crs is None:
        raise place.missing(found.name)
    given = understand(hints.crs)
    if given is None:
        raise place.missing(found.name)
    return Reference(given.crs, is_legacy=True, north_first=given.north_first)
