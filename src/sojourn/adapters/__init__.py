"""One module for each framework, with the same verbs in the same order. None of them knows another, or a store."""
