"""Out of the store and back: a folder of files, the same store from it again, and receipts checked against it."""
