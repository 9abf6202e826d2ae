"""What the pages share: the session, and the elements that every page has."""
