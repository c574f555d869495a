"""Files for other programs: recorded episodes, and what the agent observed and computed in them."""
