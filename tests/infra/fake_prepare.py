"""A preparation that prints what its argument lists, then exits with the status that it gives."""

import json
import sys

if __name__ == "__main__":
    script = json.loads(sys.argv[1])
    for line in script["lines"]:
        sys.stdout.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        sys.stdout.flush()
    sys.exit(script["exit"])
