import pytest
import torch

from gancomp_core.course import blind_test
from gancomp_core.errors import GancompError


def makers(count=12, names=("real", "teacher", "small student")):
    return {name: torch.full((count, 1, 8, 8), value) for name, value in zip(names, (-1.0, 0.0, 1.0), strict=False)}


def test_every_maker_gets_an_equal_share_in_an_order_that_follows_the_seed():
    test = blind_test(makers(), seed=3)
    assert {name: test.answers.count(name) for name in makers()} == {"real": 4, "teacher": 4, "small student": 4}
    assert test.answers == blind_test(makers(), seed=3).answers
    assert test.answers != blind_test(makers(), seed=4).answers


def test_right_answers_are_counted_and_told():
    test = blind_test(makers())
    for menu, answer in zip(test.menus, test.answers, strict=True):
        menu.value = answer
    test.menus[0].value = next(name for name in makers() if name != test.answers[0])
    test.button.click()
    assert test.score == 11
    assert "11 of 12 right" in test.verdict.value
    assert "guessing gets 4" in test.verdict.value
    assert f"{test.answers[0]}: recognized 3 of 4" in test.verdict.value
    assert [each.value for each in test.verdicts[:2]] == [
        f"<b>✗ Wrong</b>: {test.answers[0]}", f"<b>✓ Right</b>: {test.answers[1]}"
    ]  # fmt: skip


def test_a_picture_without_an_answer_is_neither_right_nor_wrong():
    test = blind_test(makers())
    test.menus[0].value = test.answers[0]
    test.button.click()
    assert test.verdicts[1].value == f"<b>No answer</b>: {test.answers[1]}"


def test_pressing_the_button_too_early_is_answered_kindly():
    test = blind_test(makers())
    test.button.click()
    assert "at least one picture" in test.verdict.value


def test_nothing_on_screen_gives_the_makers_away():
    test = blind_test(makers())
    shown = "".join(card.children[0].value for card in test.box.children[0].children)
    assert not any(name in shown for name in makers())


def test_readers_without_a_kernel_see_the_same_pictures_and_the_answers_folded_away():
    page = blind_test(makers()).as_html()
    before, _, folded = page.partition("<details>")
    assert page.count("<img") == 12
    assert "teacher" not in before
    assert "teacher" in folded


@pytest.mark.parametrize(
    "wrong", [{"real": torch.zeros(3, 1, 8, 8)}, makers(0), {**makers(), "odd": torch.zeros(1, 1, 8, 8)}]
)
def test_makers_with_unequal_pictures_are_refused(wrong):
    with pytest.raises(GancompError, match="two or more makers"):
        blind_test(wrong)
