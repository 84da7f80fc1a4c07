"""Sanity of a placement: size, area of the CRS, offsets given twice, IfcSite's position beside the map conversion."""

import math

import numpy as np

from ingest.ifc.placement import WGS84, Doubts, Facts, Placement, grid_at, in_area, middle, true_north_angle
from layers import crs
from layers.errors import Unplaceable


def check_size(facts: Facts, doubts: Doubts) -> None:
    """Doubt the unit when storeys are not 2 to 10 m apart, a building is 1 km long or another model 20 km."""
    unit_m = facts["unit_m"]
    steps = np.diff(np.unique(np.array(facts["storey_elevations"], np.float64))) * unit_m
    steps = steps[steps > 0]
    if len(steps) and not 2.0 <= float(np.median(steps)) <= 10.0:
        apart = float(np.median(steps))
        doubts.sentences.append(f"Storeys are {apart:g} m apart by the project unit of {unit_m:g} m; is it right?")
    samples = np.array(facts["samples"], np.float64).reshape(-1, 3)
    if len(samples) > 1:
        size = float(np.ptp(samples[:, :2], axis=0).max()) * unit_m
        if facts.get("n_buildings") and size > 1_000:
            doubts.sentences.append(f"The building's elements are spread over {size / 1000:.3g} km; is the unit right?")
        elif size > 20_000:
            doubts.sentences.append(f"The model's elements are spread over {size / 1000:.0f} km; is the unit right?")


def check_doubled(facts: Facts, placed: Placement, doubts: Doubts) -> None:
    """Refuse map coordinates in the model that the conversion would add once more. Raises Unplaceable."""
    centre = middle(facts)
    offset = placed.offset_m[:2]
    if centre is None or float(np.hypot(*offset)) < 20_000 or float(np.hypot(*centre[:2])) < 20_000:
        return
    if float(np.hypot(*(centre[:2] - offset))) < 0.1 * float(np.hypot(*offset)):
        sentence = (
            f"The elements already lie at ({centre[0]:.0f}, {centre[1]:.0f}) m, and the map conversion adds "
            f"({offset[0]:.0f}, {offset[1]:.0f}) m once more."
        )
        doubts.sentences.append(sentence)
        raise Unplaceable(
            sentence,
            "Take the offset out of the placements or out of the map conversion.",
            code="IFC_DOUBLED_OFFSET",
        )


def check_area(facts: Facts, placed: Placement, eastings: float, northings: float) -> None:
    """Refuse a model that would lie outside the area of its CRS. Raises Unplaceable."""
    centre = middle(facts)
    empty = not eastings and not northings
    if centre is None and empty:
        return  # nothing to judge by: no element has a position, and the coordinates may be map coordinates
    at = placed.to_map((np.zeros(3) if centre is None else centre)[None, :])
    if in_area(placed.crs, at[:, :2]):
        return
    raise Unplaceable(
        f"The map conversion ({eastings:.12g}, {northings:.12g}) puts the model at E {at[0, 0]:.0f}, N {at[0, 1]:.0f}, "
        f"outside the area of {crs.parse(placed.crs).name}.",
        "It was never filled in: set Eastings and Northings." if empty else "Check eastings, northings, unit and CRS.",
        code="IFC_DEFAULT_POSITION" if empty else "IFC_OUT_OF_AREA",
    )


def compare_with_site(facts: Facts, placed: Placement, doubts: Doubts) -> None:
    """Name the difference between IfcSite's position and the placement: over 100 m, 0.5 m of height, 1 degree."""
    for site in facts["sites"]:
        lat, lon = site["lat_deg"], site["lon_deg"]
        if lat is None or lon is None or (lat == 0 and lon == 0):
            continue
        origin = np.array(site["origin"] or (0.0, 0.0, 0.0)) * facts["unit_m"]
        at = placed.to_map(origin[None, :])[0]
        east, north = crs.transform(WGS84, placed.crs, np.array([lon]), np.array([lat]))
        metres = float(np.hypot(east[0] - at[0], north[0] - at[1])) * placed.crs_unit_m
        doubts.parameters["site_distance_m"] = round(metres, 3) if math.isfinite(metres) else None
        if not metres <= 100:
            doubts.sentences.append(
                f"IfcSite's latitude and longitude lie {metres:.0f} m from where the coordinate operation puts the "
                "site; the coordinate operation is used."
            )
            continue
        _compare_height(site, facts["unit_m"], float(at[2]), doubts)
        if facts["true_north"] is not None:
            _compare_north(facts, placed, (lat, lon), doubts)


def _compare_height(site: Facts, unit_m: float, used_m: float, doubts: Doubts) -> None:
    if site["elevation"] is not None and abs(site["elevation"] * unit_m - used_m) > 0.5:
        doubts.sentences.append(
            f"IfcSite.RefElevation is {site['elevation'] * unit_m:.2f} m but the coordinate operation puts the site at "
            f"{used_m:.2f} m; the coordinate operation is used."
        )


def _compare_north(facts: Facts, placed: Placement, at: tuple[float, float], doubts: Doubts) -> None:
    convergence = grid_at(*at, placed.crs)[2]
    expected = math.degrees(-convergence - true_north_angle(facts["true_north"]))
    used = math.degrees(math.atan2(placed.matrix[1, 0], placed.matrix[0, 0]))
    difference = abs((used - expected + 180) % 360 - 180)
    doubts.parameters["true_north_difference_deg"] = round(difference, 4)
    if difference > 1:
        doubts.sentences.append(
            f"By TrueNorth and the convergence the local x axis lies at {expected:.2f} degrees from grid east, by the "
            f"coordinate operation at {used:.2f}; the coordinate operation is used."
        )
