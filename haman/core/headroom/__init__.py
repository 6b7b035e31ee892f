"""N−1: what the loss of nodes would do to the ones that stay.

`losses` says who is lost and who takes over, `phases` has the arithmetic of one survivor, `outlook`
its outcome, `sound` what of a report can be believed, `telling` the words.
"""

from haman.core.headroom.losses import assess, assess_loss
from haman.core.headroom.verdicts import Headroom, LossScenario, SurvivorLoad, Verdict

__all__ = ["Headroom", "LossScenario", "SurvivorLoad", "Verdict", "assess", "assess_loss"]
