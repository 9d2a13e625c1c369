"""Billing module and Resource manager: pure folds, and one thin layer of Faust agents around them."""
