"""What the instructor set for all: kept over a restart, and harmless when its file is not."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eurosat_core.classroom.guide import Guide, GuideFile
from eurosat_core.training.config import workshop_config


def test_it_is_kept_over_a_restart(tmp_path: Path) -> None:
    guide = GuideFile(tmp_path / "classroom.json")
    assert guide.now == Guide()
    guide.close(("tiles", "speed"))
    guide.give(workshop_config("tilenet"))
    guide.give(workshop_config("baseline"))
    again = GuideFile(tmp_path / "classroom.json").now
    assert again == guide.now == Guide(("tiles", "speed"), workshop_config("baseline"), 2)
    guide.give(None)
    assert GuideFile(tmp_path / "classroom.json").now == Guide(("tiles", "speed"), None, 3)


def test_the_room_moves_and_a_restart_moves_nobody_again(tmp_path: Path) -> None:
    guide = GuideFile(tmp_path / "classroom.json")
    guide.bring("tiles")
    guide.bring("tiles")
    assert (guide.now.page, guide.now.moves) == ("tiles", 2)
    assert GuideFile(tmp_path / "classroom.json").now == guide.now


def test_the_page_that_the_room_is_brought_to_opens_and_nobody_need_stay(tmp_path: Path) -> None:
    guide = GuideFile(tmp_path / "classroom.json")
    guide.close(("tiles", "speed"))
    guide.bring("speed")
    assert (guide.now.page, guide.now.closed) == ("speed", ("tiles",))
    guide.bring("")
    assert (guide.now.page, guide.now.closed, guide.now.moves) == ("", ("tiles",), 2)


def test_no_move_is_lost_where_two_lead(tmp_path: Path) -> None:
    guide = GuideFile(tmp_path / "classroom.json")
    with ThreadPoolExecutor(8) as leading:
        list(leading.map(guide.bring, ["tiles", "speed"] * 50))
    assert guide.now.moves == 100


def test_what_the_projector_shows_and_which_labels_count_outlive_a_restart(tmp_path: Path) -> None:
    guide = GuideFile(tmp_path / "classroom.json")
    guide.show_labels(True)
    guide.count_labels(1700000000.5)
    again = GuideFile(tmp_path / "classroom.json").now
    assert (again.labels, again.labels_since, again.board) == (True, 1700000000.5, False)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"closed": 3}', b'{"preset": {"epochs": -1}}', b'{"presets": -1}', b'{"x": 1}']
)
def test_a_file_that_cannot_be_used_closes_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "classroom.json"
    path.write_bytes(content)
    guide = GuideFile(path)
    assert guide.now == Guide()
    guide.close(("tiles",))
    assert GuideFile(path).now.closed == ("tiles",)


def test_without_a_disk_it_holds_until_the_server_ends(tmp_path: Path) -> None:
    guide = GuideFile(tmp_path / "gone" / "classroom.json")
    guide.close(("tiles",))
    assert guide.now.closed == ("tiles",)
