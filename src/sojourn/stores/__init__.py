"""The stores: one module each, none of which knows another. `sojourn.opening` finds them by URL."""
