"""Scripts that measure us beside other tools in one run; only ratios inside one run mean anything."""
