"""See: an image and a question in, an ordered scanpath and a diagnosis out; the page, and the record it shares."""
