"""Which profile the Profiler page looks at: that in its address, also when it is gone, and what was chosen before."""

from functools import partial

from fake_engine import FakeEngine, eventually
from profile_makers import cpu_trace, put_profile

from eurosat_core.lab.lab import Lab
from tests.pages.conftest import ME, App, address, look_at, says

look = partial(look_at, page="profiler.py")


def test_record_works_where_the_profile_in_the_address_is_gone(lab: Lab, app: App, engine: FakeEngine) -> None:
    record = put_profile(lab, ME, [cpu_trace()])
    test = look(app, run=record.id)
    lab.delete(record.id, ME)  # in another tab
    test.button(key="profiler_start").click().run()
    assert not test.exception, test.exception[0].message
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert address(test, "run") == job.run_id and "There is no run" not in says(test)
