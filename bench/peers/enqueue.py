"""Put empty tasks into a queue: `python -m bench.peers.enqueue NAME COUNT`."""

import sys
from importlib import import_module

if __name__ == "__main__":
    import_module(f"bench.peers.{sys.argv[1]}_app").put(int(sys.argv[2]))
