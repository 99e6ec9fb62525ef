"""The laboratory: experiments as data, their recorded results, the benchmark and the claims of the papers."""
