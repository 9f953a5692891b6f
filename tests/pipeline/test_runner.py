"""Running a plan with children that have memory: order, skipping, resuming, dying."""

from __future__ import annotations


def test_all_four_steps_run_in_order_with_their_proposals(project) -> None:
    project.run()
    assert project.calls() == [
        ('train', 'rpn_1', 0),
        ('proposals', 'detector_1', 0),
        ('train', 'detector_1', 0),
        ('train', 'rpn_2', 0),
        ('proposals', 'detector_2', 0),
        ('train', 'detector_2', 0),
    ]


def test_a_second_run_does_nothing_and_says_why(project) -> None:
    project.run()
    before = project.calls()
    text = project.run()
    assert project.calls() == before
    assert text.count('up to date since') == 4
    assert project.events()[-4:] == [('skipped', name) for name in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')]
