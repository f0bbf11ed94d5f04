using Blkring.Engine.Memory;

namespace Blkring.Engine.Tests.Memory;

/// <summary>B1: the one piece of memory of a queue.</summary>
public sealed unsafe class ArenaTests
{
    [Fact]
    [Proves("B1")]
    public void Pieces_are_zeroed_aligned_apart_and_inside()
    {
        using Arena arena = Arena.ToMeasure();
        Assert.True(arena.IsMeasuring);
        arena.Take<byte>(100);
        arena.Take<long>(3);
        arena.Take<byte>(8192, Arena.PageBytes);
        arena.Map();
        Assert.False(arena.IsMeasuring);
        Assert.Equal(0u, arena.LengthBytes % Arena.PageBytes);
        byte* first = arena.Take<byte>(100);
        long* second = arena.Take<long>(3);
        byte* third = arena.Take<byte>(8192, Arena.PageBytes);
        Assert.Equal((0, 0, 0), ((nint)first % Arena.PageBytes, (nint)second % 64, (nint)third % Arena.PageBytes));
        Assert.True(first + 100 <= (byte*)second && (byte*)(second + 3) <= third);
        Assert.False(new Span<byte>(first, (int)arena.LengthBytes).ContainsAnyExcept((byte)0));
        Assert.True((nuint)(third + 8192 - first) <= arena.LengthBytes);
    }

    [Fact]
    public void Running_over_its_end_is_our_bug_and_is_said()
    {
        using Arena arena = new(4096);
        arena.Take<byte>(4096);
        Assert.Throws<InvalidOperationException>(() => Take(arena));
    }

    private static void Take(Arena arena) => arena.Take<byte>(1);
}
