"""A made-up market that looks real, by rule and by a seed number: companies, decks, and SIPp's own peers."""
