"""What the workers do that are not the chief: the same steps, and no files."""

from __future__ import annotations

from argparse import Namespace
from signal import SIGTERM

from seqmnist.errors import Diverged, Interrupted
from seqmnist.mnist import Splits
from seqmnist.network import Network
from seqmnist.plan import Plan
from seqmnist.signals import StopSignals
from seqmnist.trainer import batches_from, evaluate_averages


def follow(config: Namespace, splits: Splits, plan: Plan, network: Network) -> None:
    """Trains and evaluates along with the chief, from the step that it tells.

    It prints a line when all is done. At the same steps as `Trainer` it has to do what
    all workers do together: updates, evaluations and the barrier.

    Args:
        config: the run's configuration, the same as the chief's.
        splits: the data, the same as the chief's.
        plan: how long to train, and when to evaluate.
        network: in a session with the chief.

    Raises:
        Interrupted: a worker was told to stop.
        Diverged: loss or gradient are no longer finite.
        LostWorker: another worker has gone.
    """
    workers = network.workers
    step = workers.first_step
    batches = batches_from(step, config, splits, plan, workers)
    go_on = "go on, with all workers, with: --resume RUN_DIR"
    promise = "finishing the step, after which all workers stop"
    with StopSignals(go_on, promise) as signals:
        workers.heed(signals, go_on)
        while step < plan.num_steps and not workers.is_stopping:
            (update,) = network.steps.update(network.session, [next(batches)])
            step += 1
            if update.flaw:
                workers.barrier()
                raise Diverged(
                    f"{update.flaw} at step {step}: the training has diverged; worker "
                    "0 says more"
                )
            if plan.is_evaluation(step):
                for split in config.evaluate_splits:
                    _evaluate(config, splits, network, split)
        if workers.is_stopping:
            raise Interrupted(
                workers.stop_number or SIGTERM, f"after step {step}; {go_on}"
            )
        _evaluate(config, splits, network, "test")
        print(
            f"worker {workers.index} of {workers.size}: done after step {step}",
            flush=True,
        )
        workers.barrier()


def _evaluate(config, splits, network, name):
    """Evaluates a split along with the chief, if it has examples."""
    split = getattr(splits, name)
    if len(split.labels):
        evaluate_averages(network, split, config.evaluation_batch_size)
