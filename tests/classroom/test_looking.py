"""Looking over somebody's shoulder: with consent, for a while, and never with a hand on anything."""

import inspect

import pytest
from fake_engine import OpenFake, running

from eurosat_core.classroom.cookie import new_secret
from eurosat_core.classroom.looking import LASTS_SECONDS, Views
from eurosat_core.classroom.participants import Progress
from eurosat_core.classroom.passcode import Passcode
from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.onlooker import onlooker

ADA = "p-ada"


class Room:
    """One participant, and the time."""

    def __init__(self) -> None:
        self.says: Progress | None = None
        self.now = 1000.0
        self.views = Views(lambda _who: self.says, lambda: self.now)

    def shown(self) -> int:
        """Version of what is seen; -1: it is not."""
        try:
            return self.views.of(ADA).version
        except RunError:
            return -1


def test_only_with_a_hand_up_and_only_what_was_shown_since() -> None:
    room = Room()
    for says in (None, "done", "stuck"):
        room.says = says
        with pytest.raises(RunError):
            room.views.allow(ADA)
    room.says = "hand"
    room.views.show(ADA, "train", {}, {"before": 1})
    assert not room.views.allowed(ADA)
    room.views.allow(ADA)
    assert room.views.allowed(ADA) and not room.views.allowed("p-bob") and room.shown() == -1
    room.views.show(ADA, "train", {"run": "x"}, {"epochs": 3})
    view = room.views.of(ADA)
    assert (view.page, view.query, view.chosen) == ("train", {"run": "x"}, {"epochs": 3})
    room.views.show(ADA, "train", {"run": "x"}, {"epochs": 3})
    assert room.shown() == view.version
    room.views.show(ADA, "train", {"run": "x"}, {"epochs": 4})
    assert room.shown() == view.version + 1


@pytest.mark.parametrize("end", ["hand", "time", "withdrawn"])
def test_consent_ends_and_does_not_come_back(end: str) -> None:
    room = Room()
    room.says = "hand"
    room.views.allow(ADA)
    room.views.show(ADA, "train", {}, {})
    room.now += LASTS_SECONDS - 1
    assert room.shown() == 1
    if end == "hand":
        room.says = "done"
    elif end == "time":
        room.now += 1
    else:
        room.views.withdraw(ADA)
    assert room.shown() == -1
    room.says, room.now = "hand", 1000.0
    assert not room.views.allowed(ADA) and room.shown() == -1
    room.views.show(ADA, "train", {}, {})
    assert room.shown() == -1


@pytest.mark.hostile
def test_only_who_leads_is_shown_anything(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    lab.passcode = Passcode("open sesame")
    ada, eve, desk = new_secret(), new_secret(), new_secret()
    me = lab.participants.enter(ada, "train").id
    lab.passcode.sign_in(desk, "desk", "open sesame")
    with pytest.raises(RunError):
        lab.instructor(desk).view(me)
    lab.participants.say(me, "hand")
    lab.views.allow(me)
    lab.views.show(me, "train", {}, {"epochs": 3})
    assert lab.instructor(desk).view(me).chosen == {"epochs": 3}
    for secret in (eve, ada):
        with pytest.raises(RunError):
            lab.instructor(secret).view(me)
    lab.participants.enter(ada, "tiles")  # another page: the hand was up there
    with pytest.raises(RunError):
        lab.instructor(desk).view(me)


@pytest.mark.hostile
def test_an_onlooker_changes_nothing_also_in_the_others_name(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine, owner=ADA)
    looks = onlooker(lab)
    assert looks.store.get(run.id) == run and looks.results.history(run.id) == lab.results.history(run.id)
    assert looks.participants.name(ADA) == ADA and looks.tiles() == lab.tiles() and looks.guide.now == lab.guide.now
    rooms = ["store", "dispatcher", "participants", "rounds", "experiments", "passcode", "designs", "views", "library"]
    changing = {"stop", "delete", "update", "save", "vote", "rename", "sign_in", "allow", "open", "control", "enter"}
    asked = [getattr(looks, name) for name in ("submit", "control", "delete", "keep", "open_test", "instructor")]
    asked += [getattr(getattr(looks, room), name) for room in rooms if room != "views" for name in changing]
    for each in asked:
        with pytest.raises(RunError, match="nothing can be changed"):
            each(run.id, ADA)
    assert engine.commands == [] and lab.store.get(run.id) == run


def test_all_that_it_may_ask_for_is_there() -> None:
    """A name that was changed in the lab is changed here, too."""
    from eurosat_core.lab import onlooker as module

    for name in module._LOOKS:
        assert hasattr(Lab, name) or f"self.{name}" in inspect.getsource(Lab.__init__), name
