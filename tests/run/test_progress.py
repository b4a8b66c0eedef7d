"""Where a run stands: kept without rounding; which validation figures are best."""

import json

from seqmnist.record.tally import Tally
from seqmnist.run.progress import Progress


def tally(loss, correct, count=10):
    result = Tally()
    result.add(loss, correct, count)
    return result


def test_progress_goes_through_text_unchanged():
    progress = Progress(step=7, seconds=0.1 + 0.2)
    progress.since_row = tally(1 / 3, 2)
    progress.since_row.add(1e-17, 3, 4)
    progress.latest = {"validation": tally(0.7, 5), "test": tally(0.1, 9)}
    assert progress.note_if_best(progress.latest["validation"])
    again = Progress.from_state(json.loads(json.dumps(progress.state())))
    assert again.state() == progress.state()
    assert (again.step, again.seconds, again.best_step) == (7, 0.1 + 0.2, 7)
    assert again.since_row.loss == progress.since_row.loss
    assert str(again.latest["test"]) == "loss 0.1000 accuracy 0.9000"
    assert again.best.correct == 5


def test_more_correct_are_better_and_among_as_many_the_lower_loss():
    progress = Progress()
    found = []
    for step, (loss, correct) in enumerate(
        [(0.5, 3), (0.4, 3), (0.4, 3), (0.9, 4), (0.1, 3), (0.9, 5), (0.95, 5)]
    ):
        progress.step = step
        found.append(progress.note_if_best(tally(loss, correct)))
    assert found == [True, True, False, True, False, True, False]
    assert (progress.best_step, progress.best.correct) == (5, 5)
