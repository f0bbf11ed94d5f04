// Tests here look at the process as a whole: its descriptors, mappings and limits.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
