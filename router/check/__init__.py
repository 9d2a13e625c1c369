"""Check routing: what the router would do with a call now or at another moment, without making one.

    question.py    the question as people ask it: by the peer's name, at a moment
    asking.py      a question answered with all of this
    answer.py      the core's own decision on it, as the event that a real call would leave. Pure
    snapshots.py   the snapshot of that moment: the routers' own, or one built by the same builder
    build_once.py  that builder's process
    quality.py     the quality of vendors, as of now
    limits.py      the limits without room on a node, as of now
    reach.py       the vendors that do not answer a node, as of now
    look_up.py     the look-up that a call would ask, really asked if that is wanted
    trial.py       patterns of numbers, tried before they are saved. Pure
    saved.py       those that are saved

Nothing is counted or held, and nothing is sent but a look-up that somebody asked for. The caller's money is not asked:
that is admission's.
"""

from router.check.answer import Checked, LookedUp, check
from router.check.asking import Sources, ask
from router.check.limits import Room, read_room
from router.check.look_up import LookUps
from router.check.quality import read_quality
from router.check.question import Question, QuestionError, read_moment, read_seed
from router.check.reach import Reached, read_reached
from router.check.saved import connect_to_read, read_names, read_saved
from router.check.snapshots import CheckSettings, MomentSnapshots, SnapshotAwayError
from router.check.trial import RuleError, SavedRules, TrialError, TrialQuestion, TrialRule, Tried, try_rules

__all__ = [
    "CheckSettings",
    "Checked",
    "LookUps",
    "LookedUp",
    "MomentSnapshots",
    "Question",
    "QuestionError",
    "Reached",
    "Room",
    "RuleError",
    "SavedRules",
    "SnapshotAwayError",
    "Sources",
    "TrialError",
    "TrialQuestion",
    "TrialRule",
    "Tried",
    "ask",
    "check",
    "connect_to_read",
    "read_moment",
    "read_names",
    "read_quality",
    "read_reached",
    "read_room",
    "read_saved",
    "read_seed",
    "try_rules",
]
