using System.Diagnostics;
using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Hypervisor;
using Blkring.Engine.Queues;
using Blkring.Interop;

namespace Blkring.Load;

/// <summary>
/// The ring and the engine's pass, nothing else: a frontend thread and a backend thread that both poll, reads of one
/// segment, full validation, no grant copies, null disk. bench/reference/ring.c is the same in C with Xen's ring.h.
/// </summary>
internal static unsafe class RingAlone
{
    public sealed record Result(
        string Abi,
        int Pages,
        double Seconds,
        long Requests,
        double MeanBatch,
        long AllocatedBytes
    )
    {
        public double PerSecond => Requests / Seconds;
    }

    public static Result Run<TAbi>(int pages, double seconds, int? frontendCpu, int? backendCpu)
        where TAbi : struct, Blkif.IRing
    {
        using MappedMemory ring = MappedMemory.Anonymous((nuint)pages * Blkif.BackRing<TAbi>.PageSize, populate: true);
        Blkif.FrontRing<TAbi>.Initialise(ring.Address, pages);
        using NullDisk disk = new(1L << 31);
        using VbdQueue<TAbi, NullGrants, NullEventChannel, NullDiskIo> queue = new(
            ring.Address,
            new VbdQueueOptions { RingPages = pages },
            disk,
            default,
            default,
            default
        );
        queue.AttachRing();

        bool stop = false;
        long allocated = 0;
        Thread backend = new(() =>
        {
            if (backendCpu is { } cpu)
                CpuAffinity.PinCurrentThread(cpu);
            const bool frontendHasOwnCpu = true;
            long before = GC.GetAllocatedBytesForCurrentThread();
            while (!Volatile.Read(ref stop))
                queue.RunPass(frontendHasOwnCpu);
            allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        })
        {
            Name = "backend",
        };

        long measured = 0;
        double elapsed = 0;
        long passesAtStart = 0,
            passesAtEnd = 0;
        Exception? failure = null;
        Thread frontend = new(() =>
        {
            if (frontendCpu is { } cpu)
                CpuAffinity.PinCurrentThread(cpu);
            try
            {
                Blkif.FrontRing<TAbi> front = Blkif.FrontRing<TAbi>.Attach(ring.Address, pages);
                // Warm-up, until tiered compilation has finished.
                Exchange(ref front, TimeSpan.FromSeconds(Math.Min(1, seconds)));
                passesAtStart = queue.Statistics.Passes;
                long start = Stopwatch.GetTimestamp();
                measured = Exchange(ref front, TimeSpan.FromSeconds(seconds));
                elapsed = Stopwatch.GetElapsedTime(start).TotalSeconds;
                passesAtEnd = queue.Statistics.Passes;
            }
            catch (InvalidOperationException error)
            {
                failure = error;
            }
        })
        {
            Name = "frontend",
        };

        backend.Start();
        frontend.Start();
        frontend.Join();
        Volatile.Write(ref stop, true);
        backend.Join();
        if (failure is not null)
            throw failure;
        return new Result(
            AbiName<TAbi>(),
            pages,
            elapsed,
            measured,
            (double)measured / Math.Max(1, passesAtEnd - passesAtStart),
            allocated
        );
    }

    private static string AbiName<TAbi>()
        where TAbi : struct, Blkif.IRing => TAbi.AbiName;

    /// <summary>Keeps the ring full, and checks the id, operation and status of each response.</summary>
    private static long Exchange<TAbi>(ref Blkif.FrontRing<TAbi> front, TimeSpan duration)
        where TAbi : struct, Blkif.IRing
    {
        Blkif.DecodedRequest request = default;
        request.Operation = Blkif.OpRead;
        request.NrSegments = 1;
        request.Seg[0].FirstSect = 0;
        request.Seg[0].LastSect = 7;
        Blkif.DecodedResponse response = default;

        ulong posted = 0,
            answered = 0;
        long end = Stopwatch.GetTimestamp() + (long)(duration.TotalSeconds * Stopwatch.Frequency);
        for (uint turn = 0; ; turn++)
        {
            // The clock is read rarely: a reading costs as much as a request.
            bool over = (turn & 1023) == 0 && Stopwatch.GetTimestamp() >= end;
            if (!over)
            {
                uint free = front.FreeRequests();
                for (uint i = 0; i < free; i++)
                {
                    request.Id = posted++;
                    request.SectorNumber = (request.Id * 8) & 0xfffff;
                    request.Seg[0].Gref = (uint)request.Id;
                    front.PutRequest(in request);
                }
                if (free > 0)
                    front.PushRequests();
            }
            uint ready = front.UnconsumedResponses();
            for (uint i = 0; i < ready; i++)
            {
                front.TakeResponse(ref response);
                if (response.Id != answered++ || response.Status != Blkif.RspOkay || response.Operation != Blkif.OpRead)
                    throw new InvalidOperationException(
                        $"response {response.Id} status {response.Status}, expected {answered - 1}"
                    );
            }
            if (over || (posted == answered && Stopwatch.GetTimestamp() >= end))
                break;
        }
        long deadline = Stopwatch.GetTimestamp() + (10 * Stopwatch.Frequency);
        while (answered < posted)
        {
            while (front.UnconsumedResponses() > 0)
            {
                front.TakeResponse(ref response);
                answered++;
            }
            if (Stopwatch.GetTimestamp() > deadline)
                throw new InvalidOperationException("the backend stopped answering");
        }
        return (long)answered;
    }
}
