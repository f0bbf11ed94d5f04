using Blkring.Micro;

return MicroBenchmarks.Run(args);
