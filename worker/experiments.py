"""Which words a customer reads while a message is challenged: drawn from a keyed hash, so always the same for them.

Nothing about the customer enters the draw but a number of ours, so that no trait of theirs decides.
"""

from collections.abc import Mapping
from typing import Final

from domain.experiment import Arm, Experiment
from worker.cases import Scene

#: The draw is out of so many: a percent is a hundred of them.
OUT_OF: Final = 10_000

NONE: Final[Mapping[str, object]] = {}


def words_for(scene: Scene, message: str, customer_id: int) -> tuple[str, Mapping[str, object]]:
    """The message whose words go out, and what to write on the contact about it: nothing without an experiment."""
    experiment = scene.release.experiments.get(message)
    if experiment is None or not experiment.is_on(scene.now, scene.lender.id):
        return message, NONE
    arm = arm_of(scene, experiment, customer_id)
    return experiment.words(arm), {"experiment": {"id": experiment.id, "arm": arm.value}}


def arm_of(scene: Scene, experiment: Experiment, customer_id: int) -> Arm:
    """The same for this customer as long as the experiment keeps its name, whatever becomes of its share."""
    drawn = scene.keyring.fingerprint(f"experiment\x1f{experiment.id}\x1f{customer_id}".encode())
    is_challenged = int.from_bytes(drawn[:8], "big") % OUT_OF < experiment.percent * (OUT_OF // 100)
    return Arm.CHALLENGER if is_challenged else Arm.CHAMPION
