"""What an installation of so many locations would be: sizes by arithmetic, waiting by simulation (docs/scale.md)."""
