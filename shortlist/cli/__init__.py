"""Words typed -> calls of the library: one file a verb, each only parses, calls and prints."""
