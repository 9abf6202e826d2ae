"""`verify`: exit status 0 for what a lab signed, 1 for what was changed, 2 for another lab's and for what is none."""

from pathlib import Path

from command_line import ask, folder, places

from eurosat_core.finding import Finding
from eurosat_core.runs.certificate import public_key
from eurosat_core.words.certificate import certificate_page, signed_certificate

__all__ = ["ask", "folder", "places"]
FOUND = [Finding("certificate.guessed", {"right": 3})]


def test_valid_changed_and_another_labs(ask, places: Path) -> None:
    file, page, other = places / "a.json", places / "a.html", places / "other"
    assert ask("verify", str(file))[0] == 2
    signed = signed_certificate(FOUND, "ada", "Lab", places / "runs")
    file.write_text(signed.text(), encoding="utf-8")
    page.write_text(certificate_page(signed), encoding="utf-8")
    for each in (file, page):
        status, result, _ = ask("verify", str(each))
        assert (status, result["state"], result["statement"]["nickname"]) == (0, "valid", "ada")
    assert ask("verify", str(page))[1]["page_checked"] and not ask("verify", str(file))[1]["page_checked"]
    theirs = public_key(other, make=True)
    assert ask("verify", str(file), "--key", theirs)[:1] == (2,)
    assert ask("verify", str(file), "--key", theirs)[1]["state"] == "other_key"
    for path in (file, page):
        path.write_text(path.read_text(encoding="utf-8").replace("ada", "eve"), encoding="utf-8")
        status, result, _ = ask("verify", str(path))
        assert (status, result["state"]) == (1, "changed") and "statement" not in result
    page.write_text(certificate_page(signed).replace('class="name">ada', 'class="name">eve'), encoding="utf-8")
    assert ask("verify", str(page))[0] == 1, "the page says other words than it signs"


def test_a_lab_without_a_key_needs_one_named(ask, places: Path) -> None:
    (places / "a.json").write_text(signed_certificate(FOUND, "ada", "Lab", places / "other").text(), encoding="utf-8")
    status, result, said = ask("verify", str(places / "a.json"))
    assert (status, result, said.count("\n")) == (2, None, 1) and "--key" in said
    assert ask("verify", str(places / "a.json"), "--key", public_key(places / "other"))[0] == 0
