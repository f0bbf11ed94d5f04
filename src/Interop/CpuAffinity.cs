using System.Numerics;

namespace Blkring.Interop;

/// <summary>
/// Which CPUs the calling thread may run on (sched_setaffinity(2)). Control plane: allocates and throws.
/// </summary>
public static unsafe class CpuAffinity
{
    // 8192 CPUs, the greatest NR_CPUS of x86-64. The kernel refuses a mask that is shorter than its own.
    const int MaskWords = 128;

    /// <summary>
    /// Pins the calling thread to one CPU. Only for a dedicated thread: a pool thread would stay pinned.
    /// </summary>
    /// <param name="cpu">One of <see cref="Allowed"/>.</param>
    /// <exception cref="IOException">The CPU does not exist, or the cpuset excludes it: EINVAL.</exception>
    public static void PinCurrentThread(int cpu)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(cpu);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(cpu, MaskWords * 64);
        var mask = stackalloc ulong[MaskWords];
        mask[cpu / 64] = 1UL << (cpu % 64);
        var result = Libc.SchedSetAffinity(0, MaskWords * sizeof(ulong), mask);
        if (result < 0)
            throw Errno.ToException($"sched_setaffinity to CPU {cpu}", result);
    }

    /// <summary>The CPUs the calling thread may run on, ascending.</summary>
    public static int[] Allowed()
    {
        var mask = stackalloc ulong[MaskWords];
        var result = Libc.SchedGetAffinity(0, MaskWords * sizeof(ulong), mask);
        if (result < 0)
            throw Errno.ToException("sched_getaffinity", result);
        var cpus = new List<int>();
        for (var word = 0; word < MaskWords; word++)
        {
            for (var bits = mask[word]; bits != 0; bits &= bits - 1)
                cpus.Add(word * 64 + BitOperations.TrailingZeroCount(bits));
        }
        return [.. cpus];
    }
}
