"""Money that is not a call's: prices and payments, by files and commands."""
