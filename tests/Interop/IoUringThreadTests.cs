using static Blkring.Interop.IoUringAbi;

namespace Blkring.Interop.Tests;

/// <summary>Which thread may call what, as the class documents.</summary>
public sealed unsafe class IoUringThreadTests : IDisposable
{
    readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    static T OnAnotherThread<T>(Func<T> call)
    {
        T result = default!;
        Exception? thrown = null;
        var thread = new Thread(() =>
        {
            try
            {
                result = call();
            }
            catch (Exception e) when (e is InvalidOperationException or IOException)
            {
                thrown = e;
            }
        });
        thread.Start();
        thread.Join();
        return thrown is null ? result : throw thrown;
    }

    [Fact]
    public void Before_it_is_enabled_a_ring_takes_registrations_from_any_thread_and_no_submissions()
    {
        using var file = _directory.CreateFile(4096);
        using var memory = MappedMemory.Anonymous(4096);
        using var ring = Rings.Create();
        Assert.Equal(0, OnAnotherThread(() => ring.TryRegisterFile(file.Value)));
        Assert.Equal(0, OnAnotherThread(() => ring.TryRegisterBuffer(memory.Address, memory.LengthBytes)));
        ring.PrepareNop(1);
        Assert.Equal(-Errno.EBADFD, ring.Submit());

        ring.Enable();
        Assert.Equal(1, ring.SubmitAndWait(1));
        Assert.Equal([(1UL, 0)], ring.TakeAll());
        Assert.Equal(4096, ring.Run(IORING_OP_READ_FIXED, fd: 0, memory.Address, 4096, 0, IOSQE_FIXED_FILE));
    }

    [Fact]
    public void The_thread_that_enables_becomes_the_issuer_whoever_created_the_ring()
    {
        using var ring = Rings.Create();
        Assert.Equal(
            1,
            OnAnotherThread(() =>
            {
                ring.Enable();
                ring.PrepareNop(1);
                return ring.SubmitAndWait(1);
            })
        );
        Assert.Single(ring.TakeAll());
    }

    [Fact]
    public void An_enabled_ring_refuses_the_registrations_of_another_thread_and_says_so()
    {
        using var file = _directory.CreateFile(4096);
        using var ring = Rings.CreateEnabled();
        Assert.Throws<InvalidOperationException>(() => OnAnotherThread(() => ring.TryRegisterFile(file.Value)));
        Assert.Equal(0, ring.TryRegisterFile(file.Value));
    }

    [Fact]
    public void A_ring_without_a_single_issuer_takes_registrations_from_another_thread_all_its_life()
    {
        using var file = _directory.CreateFile(4096);
        using var ring = Rings.CreateEnabled(new() { SingleIssuer = false });
        Assert.DoesNotContain("single_issuer", ring.Describe(), StringComparison.Ordinal);
        Assert.DoesNotContain("defer_taskrun", ring.Describe(), StringComparison.Ordinal);
        Assert.Equal(0, OnAnotherThread(() => ring.TryRegisterFile(file.Value)));
    }

    [Fact]
    public void A_ring_is_enabled_once()
    {
        using var ring = Rings.CreateEnabled();
        Assert.Throws<InvalidOperationException>(ring.Enable);
    }

    [Fact]
    public void Disposing_the_ring_of_another_thread_leaves_this_threads_own_ring_alone()
    {
        using var mine = Rings.CreateEnabled();
        using var stop = new ManualResetEventSlim();
        using var ready = new ManualResetEventSlim();
        IoUring? other = null;
        var thread = new Thread(() =>
        {
            // Not single-issuer, which would refuse the unregistration anyway.
            other = Rings.CreateEnabled(new() { SingleIssuer = false });
            ready.Set();
            stop.Wait();
        });
        thread.Start();
        ready.Wait(TestContext.Current.CancellationToken);
        // Both hold index 0 of their thread's table.
        other!.Dispose();
        mine.PrepareNop(3);
        Assert.Equal(1, mine.SubmitAndWait(1));
        stop.Set();
        thread.Join();
    }

    [Fact]
    public void More_rings_than_a_thread_can_register_fall_back_to_the_plain_descriptor()
    {
        var rings = Enumerable
            .Range(0, 17)
            .Select(_ => Rings.CreateEnabled(new() { SubmissionEntries = 1, CompletionEntries = 2 }))
            .ToList();
        try
        {
            // IO_RINGFD_REG_MAX is 16.
            Assert.Equal(16, rings.Count(r => r.Describe().Contains("registered ring", StringComparison.Ordinal)));
            rings[16].PrepareNop(1);
            Assert.Equal(1, rings[16].SubmitAndWait(1));
        }
        finally
        {
            rings.ForEach(r => r.Dispose());
        }
        // Disposal gave the indices back.
        using var again = Rings.CreateEnabled();
        Assert.Contains("registered ring", again.Describe(), StringComparison.Ordinal);
    }
}
