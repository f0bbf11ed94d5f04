using Blkring.Abi;
using Blkring.Engine.Hypervisor;
using Blkring.Interop;
using Blkring.Loopback;

namespace Blkring.Engine.Tests.Loopback;

/// <summary>
/// The hypervisor that the tests play: it must refuse what Xen refuses, or the other tests prove little.
/// </summary>
public sealed unsafe class LoopbackTests
{
    private const ushort Guest = 5;

    [Fact]
    public void A_copy_moves_the_bytes_asked_for_in_either_direction_and_no_more()
    {
        using LoopbackDomain domain = new(new DomainId(Guest), 4, 8);
        LoopbackGrants grants = new(domain.Memory, domain.Id, domain.Backend);
        uint frame = domain.TakeFrames(1);
        GrantReference reference = domain.Grant(frame, readOnly: false);
        byte* local = stackalloc byte[4096];
        Span<byte> page = new(domain.FrameAt(frame), 4096),
            ours = new(local, 4096);
        new Random(1).NextBytes(page);
        byte[] before = page.ToArray();

        GrantCopySegment segment = FromGuest(reference, 512, local, 1024);
        grants.Copy(&segment, 1);
        Assert.Equal(GrantTable.GntstOkay, segment.Status);
        Assert.True(ours[..1024].SequenceEqual(page.Slice(512, 1024)));
        Assert.False(ours[1024..].ContainsAnyExcept((byte)0));

        ours.Fill(0x77);
        segment = ToGuest(local, reference, 3584, 512);
        grants.Copy(&segment, 1);
        Assert.Equal(GrantTable.GntstOkay, segment.Status);
        Assert.True(page[..3584].SequenceEqual(before.AsSpan(0, 3584)));
        Assert.False(page[3584..].ContainsAnyExcept((byte)0x77));
    }

    [Fact]
    public void Each_segment_has_a_status_of_its_own_and_a_failed_one_stops_no_other()
    {
        using LoopbackDomain domain = new(new DomainId(Guest), 4, 16);
        LoopbackGrants grants = new(domain.Memory, domain.Id, domain.Backend);
        uint frame = domain.TakeFrames(1);
        GrantReference good = domain.Grant(frame, readOnly: false),
            readOnly = domain.Grant(frame, readOnly: true);
        GrantReference foreign = domain.GrantTo(new DomainId(77), frame, readOnly: false),
            revoked = domain.Grant(frame, readOnly: false);
        GrantReference beyond = domain.Grant((uint)domain.Memory.Frames, readOnly: false);
        domain.Revoke(revoked);
        byte* local = stackalloc byte[4096];

        (GrantCopySegment Segment, short Status)[] cases =
        [
            (FromGuest(good, 0, local, 4096), GrantTable.GntstOkay),
            (FromGuest(new GrantReference((uint)domain.Memory.Grants), 0, local, 512), GrantTable.GntstBadGntref),
            (FromGuest(new GrantReference(uint.MaxValue), 0, local, 512), GrantTable.GntstBadGntref),
            (FromGuest(new GrantReference(0), 0, local, 512), GrantTable.GntstGeneralError),
            (FromGuest(foreign, 0, local, 512), GrantTable.GntstGeneralError),
            (FromGuest(revoked, 0, local, 512), GrantTable.GntstGeneralError),
            (FromGuest(beyond, 0, local, 512), GrantTable.GntstBadPage),
            (FromGuest(readOnly, 0, local, 512), GrantTable.GntstOkay),
            (ToGuest(local, readOnly, 0, 512), GrantTable.GntstGeneralError),
            (FromGuest(good, 1, local, 4096), GrantTable.GntstBadCopyArg),
            (FromGuest(good, 4095, local, 2), GrantTable.GntstBadCopyArg),
            (FromGuest(good, 65535, local, 65535), GrantTable.GntstBadCopyArg),
            (
                FromGuest(good, 0, local, 512) with
                {
                    SourceForeign = new ForeignAddress { Reference = good.Value, Domain = 6 },
                },
                GrantTable.GntstBadDomain
            ),
            (FromGuest(good, 0, local, 512) with { Flags = 0 }, GrantTable.GntstGeneralError),
            (FromGuest(good, 0, local, 512) with { Flags = 3 }, GrantTable.GntstGeneralError),
            (ToGuest(local, good, 0, 512), GrantTable.GntstOkay),
        ];
        GrantCopySegment[] segments = [.. cases.Select(pair => pair.Segment)];
        fixed (GrantCopySegment* first = segments)
            grants.Copy(first, segments.Length);
        Assert.Equal(cases.Select(pair => pair.Status), segments.Select(segment => segment.Status));
    }

    [Fact]
    public void Guest_memory_that_could_shrink_or_is_shorter_than_announced_is_refused()
    {
        using GuestMemory memory = GuestMemory.Create(4, 8);
        Assert.Equal(-Errno.EPERM, Libc.Ftruncate(memory.Descriptor, 0));
        using (GuestMemory same = GuestMemory.Open(new FileDescriptor(Libc.Dup(memory.Descriptor)), 4, 8))
        {
            memory.FrameAt(3)[4095] = 99;
            Assert.Equal(99, same.FrameAt(3)[4095]);
        }
        Assert.Throws<InvalidOperationException>(() => OpenCopy(memory.Descriptor, 5, 8));
        Assert.Throws<InvalidOperationException>(() => OpenCopy(memory.Descriptor, 4, 4096));
        Assert.Throws<InvalidOperationException>(() => OpenCopy(memory.Descriptor, 0, 8));
        Assert.Throws<InvalidOperationException>(() => OpenCopy(memory.Descriptor, 4, -1));

        using FileDescriptor unsealed = new(Libc.MemfdCreate("unsealed", Libc.MFD_ALLOW_SEALING));
        Assert.Equal(0, Libc.Ftruncate(unsealed.Value, 1 << 20));
        Assert.Throws<InvalidOperationException>(() => OpenCopy(unsealed.Value, 4, 8));
    }

    [Fact]
    public void A_domain_has_as_many_frames_and_grants_as_it_was_made_with()
    {
        using LoopbackDomain domain = new(new DomainId(Guest), 2, 2);
        domain.TakeFrames(2);
        Assert.Throws<InvalidOperationException>(() => domain.TakeFrames(1));
        domain.Grant(0, readOnly: true);
        domain.Grant(1, readOnly: true);
        Assert.Throws<InvalidOperationException>(() => domain.Grant(0, readOnly: true));
    }

    private static void OpenCopy(int descriptor, int frames, int grants)
    {
        using FileDescriptor copy = new(Libc.Dup(descriptor));
        GuestMemory.Open(copy, frames, grants).Dispose();
    }

    private static GrantCopySegment FromGuest(GrantReference reference, ushort offset, byte* to, ushort length)
    {
        GrantCopySegment segment = default;
        segment.SourceForeign = new ForeignAddress
        {
            Reference = reference.Value,
            OffsetBytes = offset,
            Domain = Guest,
        };
        segment.DestAddress = to;
        (segment.LengthBytes, segment.Flags, segment.Status) = (length, GrantTable.GntcopySourceGref, 99);
        return segment;
    }

    private static GrantCopySegment ToGuest(byte* from, GrantReference reference, ushort offset, ushort length)
    {
        GrantCopySegment segment = default;
        segment.SourceAddress = from;
        segment.DestForeign = new ForeignAddress
        {
            Reference = reference.Value,
            OffsetBytes = offset,
            Domain = Guest,
        };
        (segment.LengthBytes, segment.Flags, segment.Status) = (length, GrantTable.GntcopyDestGref, 99);
        return segment;
    }
}
