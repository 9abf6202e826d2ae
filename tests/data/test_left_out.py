"""What a set does without: one line for each kind."""

from eurosat_core.data.decoding import LeftOut, Tally, left_out_text


def test_one_and_many_are_worded() -> None:
    one = LeftOut("damaged", 1, "A/1.jpg", " (cut)")
    assert str(one) == "A/1.jpg: damaged (cut)"
    assert str(LeftOut("damaged", 12_000, "A/1.jpg", " (cut)")) == "12,000 × damaged, such as A/1.jpg (cut)"
    assert str(LeftOut("of .gif", 12, unreadable=False)) == "12 of .gif"


def test_those_of_a_kind_are_counted_and_the_first_is_the_example() -> None:
    tally = Tally(LeftOut("damaged", 1, f"A/{number}.jpg", f" ({number})") for number in range(27_000))
    tally.add(LeftOut("of .gif", 2, unreadable=False))
    tally.add(LeftOut("of .gif", 3, unreadable=False))
    first, second = tally
    assert (first.count, first.example, first.detail) == (27_000, "A/0.jpg", " (0)")
    assert (second.count, second.unreadable) == (5, False)
    assert tally.count == 27_005
    assert list(Tally(LeftOut(**each) for each in tally.as_json())) == [first, second]


def test_the_most_frequent_come_first_and_the_text_is_short() -> None:
    tally = Tally(LeftOut(f"of .{letter}", number, unreadable=False) for number, letter in enumerate("abcdefgh", 1))
    assert left_out_text(tally, ", ") == "8 of .h, 7 of .g, 6 of .f, 15 for other reasons"
    assert left_out_text([]) == ""
