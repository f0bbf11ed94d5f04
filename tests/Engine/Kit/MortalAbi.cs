using Blkring.Abi;
using Blkring.Engine.Disks;
using Blkring.Engine.Queues;

namespace Blkring.Engine.Tests.Kit;

/// <summary>
/// x86_64 with a step around each request that is copied off the ring, and after each response that is put on it: a
/// daemon can be killed there before it notes in its journal what it has just done.
/// </summary>
internal readonly unsafe struct MortalAbi : Blkif.IRing
{
    // Static, because the codec is; per thread, because tests run side by side.
    [ThreadStatic]
    private static Mortality? t_life;

    public static string AbiName => Real<Blkif.X86_64>.AbiName;

    public static int EntrySize => Real<Blkif.X86_64>.EntrySize;

    public static VbdQueue CreateQueue(
        byte* sring,
        VbdQueueOptions options,
        Disk disk,
        WitnessedGrants grants,
        WitnessedEvents events,
        Mortality life
    )
    {
        t_life = life;
        return disk.Accept(new OnDisk(sring, options, disk, grants, events));
    }

    public static void ReadRequest(byte* entry, ref Blkif.DecodedRequest request)
    {
        t_life?.Step();
        Real<Blkif.X86_64>.ReadRequest(entry, ref request);
        t_life?.Step();
    }

    public static void WriteResponse(byte* entry, in Blkif.DecodedResponse response)
    {
        Real<Blkif.X86_64>.WriteResponse(entry, in response);
        t_life?.Step();
    }

    public static void WriteRequest(byte* entry, in Blkif.DecodedRequest request) =>
        Real<Blkif.X86_64>.WriteRequest(entry, in request);

    public static void ReadResponse(byte* entry, ref Blkif.DecodedResponse response) =>
        Real<Blkif.X86_64>.ReadResponse(entry, ref response);

    /// <summary>The generated codec implements the interface explicitly: only a type parameter reaches it.</summary>
    private static class Real<T>
        where T : struct, Blkif.IRing
    {
        public static string AbiName => T.AbiName;

        public static int EntrySize => T.EntrySize;

        public static void ReadRequest(byte* entry, ref Blkif.DecodedRequest request) =>
            T.ReadRequest(entry, ref request);

        public static void WriteRequest(byte* entry, in Blkif.DecodedRequest request) =>
            T.WriteRequest(entry, in request);

        public static void ReadResponse(byte* entry, ref Blkif.DecodedResponse response) =>
            T.ReadResponse(entry, ref response);

        public static void WriteResponse(byte* entry, in Blkif.DecodedResponse response) =>
            T.WriteResponse(entry, in response);
    }

    private sealed class OnDisk(
        byte* sring,
        VbdQueueOptions options,
        Disk disk,
        WitnessedGrants grants,
        WitnessedEvents events
    ) : IDiskVisitor<VbdQueue>
    {
        // A constructor parameter of pointer type cannot be captured.
        private readonly byte* _sring = sring;

        public VbdQueue Visit<TDisk>(TDisk io)
            where TDisk : struct, IDiskIo =>
            new VbdQueue<MortalAbi, WitnessedGrants, WitnessedEvents, TDisk>(_sring, options, disk, grants, events, io);
    }
}
