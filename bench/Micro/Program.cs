using BenchmarkDotNet.Running;
using Blkring.Micro;

return MicroBenchmarks.Run(args);
