"""Images into the store: an archive, a folder of the server or a data set of the Hub, and how far each import is."""
