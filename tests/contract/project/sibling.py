WORD = "from a sibling"
