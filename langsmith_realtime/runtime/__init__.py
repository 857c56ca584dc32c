"""Change here what depends on the process or the operating system: failures, threads, forks, files."""
