"""How many events may be sent, and how many were: bounds, what is spent, and how workers keep within them.

The parent keeps the `Meter`; a worker asks it through its `Allowance`. An `Account` is what people are told.
"""

from braze_etl.run.budget.account import Account
from braze_etl.run.budget.allowance import Allowance, Ask, Grant
from braze_etl.run.budget.asking import Asking
from braze_etl.run.budget.meter import Meter
from braze_etl.run.budget.spending import Spending
from braze_etl.run.budget.spent import NOTE, Spent
from braze_etl.run.budget.terms import Terms

__all__ = ["NOTE", "Account", "Allowance", "Ask", "Asking", "Grant", "Meter", "Spending", "Spent", "Terms"]
