"""From a local folder to a network in memory, laid out for the machine that it runs on."""
