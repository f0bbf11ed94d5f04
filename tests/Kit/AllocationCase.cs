using Blkring.Engine.Queues;

namespace Blkring.Tests.Kit;

/// <summary>What the data path is asked to serve without garbage.</summary>
public enum AllocationSubject
{
    NullDisk,
    MemoryDisk,
    File,
    LongRequests,
    PartsOfBlocks,
    EveryKind,
    SeveralRings,

    /// <summary>The negative control: a disk that allocates.</summary>
    AllocatingDisk,
}

/// <summary>One run of the allocation gate.</summary>
public sealed record AllocationCase(
    AllocationSubject Subject,
    BlkifProtocol Protocol,
    GrantMode Mode = GrantMode.Copy,
    bool UseIoUring = true
)
{
    /// <summary>Every case, the negative control last.</summary>
    public static IReadOnlyList<AllocationCase> All { get; } =
    [
        .. from subject in Enum.GetValues<AllocationSubject>()
        from protocol in Enum.GetValues<BlkifProtocol>()
        from one in Of(subject, protocol)
        select one,
    ];

    public string Name => $"{Subject} {Protocol} {Mode} {(UseIoUring ? "io_uring" : "poll")}";

    /// <summary>Whether the counts are what this case has to show.</summary>
    public bool IsPassedBy(AllocationCounts counts) =>
        Subject == AllocationSubject.AllocatingDisk
            ? counts is { ReactorBytes: >= AllocationCounts.ControlBytes, GuestBytes: 0 }
            : counts == default;

    private static IEnumerable<AllocationCase> Of(AllocationSubject subject, BlkifProtocol protocol) =>
        subject switch
        {
            AllocationSubject.LongRequests => Enum.GetValues<GrantMode>()
                .Select(mode => new AllocationCase(subject, protocol, mode)),
            AllocationSubject.PartsOfBlocks => [new(subject, protocol), new(subject, protocol, UseIoUring: false)],
            AllocationSubject.EveryKind or AllocationSubject.SeveralRings => Enum.GetValues<GrantMode>()
                .SelectMany(
                    _ => (bool[])[true, false],
                    (mode, useIoUring) => new AllocationCase(subject, protocol, mode, useIoUring)
                ),
            _ => [new(subject, protocol)],
        };
}

/// <summary>What a run left behind. All zeros is what is wanted.</summary>
public readonly record struct AllocationCounts(long ReactorBytes, long GuestBytes, int Collections)
{
    /// <summary>The least that the negative control allocates: 20 objects of 24 bytes.</summary>
    public const long ControlBytes = 20 * 24;
}
