"""What is said of a roof line: on round figures."""

from eurosat_core.analysis.profile_roofline import measured_roofs, roofline_findings
from eurosat_core.charts.profile_roofline import roofline_frame, roofline_points
from eurosat_core.profiling.cards import Roofs
from eurosat_core.profiling.roofline import CPU, Roofline, RoofRow
from eurosat_core.speed.result import Limits

ROOFS = Roofs({"float32": 1e12}, 1e11)  # a bend at 10 FLOPs per byte


def row(operator: str, time_us: float, flops: float, moved: float, shapes: str = "8×8") -> RoofRow:
    return RoofRow(operator, shapes, "float32", True, 1, 1, time_us, flops, moved)


def line(*rows: RoofRow, index: int = 0, roofs: Roofs | None = ROOFS) -> Roofline:
    return Roofline(index, None, roofs, True, sum(each.time_us for each in rows), rows, {})


def test_the_slowest_and_where_most_is_won() -> None:
    # 50 µs at least by memory, and 10 by arithmetic; 40 by arithmetic; 30, but it took 20.
    rows = (row("mul", 100, 1e7, 5e6), row("mm", 80, 4e7, 1e5), row("mm", 50, 1e7, 1e6), row("conv", 20, 3e7, 1e5))
    busy, slowest, most = roofline_findings(line(*rows), 0.9)
    assert (busy.name, busy.figures["utilization"]) == ("roofline.busy", 0.9)
    assert abs(busy.figures["share"] - (50 + 40 + 10 + 20) / 250) < 1e-9
    assert (slowest.name, slowest.figures["operator"]) == ("roofline.slowest.compute", "mm")
    assert abs(slowest.figures["share"] - 50 / 130) < 1e-9 and abs(slowest.figures["part"] - 130 / 250) < 1e-9
    assert (most.name, most.figures["operator"]) == ("roofline.most", "mul") and most.figures["won"] == 0.05


def test_at_the_roof_and_beyond_there_is_nothing_to_win() -> None:
    names = [each.name for each in roofline_findings(line(row("conv", 20, 3e7, 1e5)), None)]
    assert names == ["roofline.all", "roofline.slowest.beyond"]
    assert roofline_findings(line(row("mul", 100, 1e7, 6e6), index=CPU), None)[0].name == "roofline.processor"
    assert roofline_findings(line(row("mul", 100, 1e7, 6e6), roofs=None), 0.5) == []


def test_measured_limits_are_roofs() -> None:
    limits = Limits("cpu", 2, {"float32": 1e11}, ((1e6, 5e10), (1e8, 2e10)))
    assert measured_roofs(limits) == Roofs({"float32": 1e11}, 2e10)
    assert measured_roofs(Limits("cpu", 2)) is None


def test_points_and_the_bend_of_the_roof() -> None:
    rows = (row("mul", 100, 1e7, 6e6), row("copy", 50, 0, 1e6), row("mm", 80, 4e7, 1e5))
    frame = roofline_frame(line(*rows))
    points, roof = frame[frame["roof"] == ""], frame[frame["roof"] == "float32"]
    assert list(points["operator"]) == ["mul", "mm"] and list(points["limit"]) == ["memory", "arithmetic"]
    assert list(roof["tflops"])[1:] == [1.0, 1.0] and list(roof["intensity"])[1] == 10.0
    assert roof["tflops"].iloc[0] == roof["intensity"].iloc[0] / 10
    assert roofline_points(0.1, 10, 0.1, 100)["height"] == 400
    assert roofline_frame(line(row("copy", 50, 0, 1e6))).empty
