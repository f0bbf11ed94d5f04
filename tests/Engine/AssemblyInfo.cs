// Tests here look at the process as a whole: its descriptors, its garbage, its threads.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
