// Tests here look at the process as a whole: its descriptors, mappings and limits.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
