namespace Blkring.AbiTools.Diff;

/// <summary>One difference between two versions of a protocol.</summary>
/// <param name="Kind">
/// The kind, from a fixed vocabulary: <c>member-moved</c>, <c>constant-changed</c> and so on.
/// </param>
/// <param name="Subject">The part that differs, by its C name: <c>blkif_request.id</c>.</param>
/// <param name="Text">The difference in words, with old and new values.</param>
/// <param name="IsWireCompatible">
/// Whether a frontend of one version and a backend of the other still understand each other.
/// </param>
public sealed record AbiDifference(string Kind, string Protocol, string Subject, string Text, bool IsWireCompatible)
{
    public string? Struct { get; init; }
    public string? Member { get; init; }

    /// <summary>Null for parts that are the same in every ABI, such as constants.</summary>
    public string? Abi { get; init; }

    /// <summary>In bytes, like the next three.</summary>
    public int? OldOffset { get; init; }
    public int? NewOffset { get; init; }
    public int? OldSize { get; init; }
    public int? NewSize { get; init; }

    /// <summary>For a bit field: see <see cref="Layouts.AbiMember.BitOffset"/>.</summary>
    public int? OldBitOffset { get; init; }
    public int? NewBitOffset { get; init; }

    /// <summary>For a bit field, in bits.</summary>
    public int? OldBitWidth { get; init; }
    public int? NewBitWidth { get; init; }

    /// <summary>A type or a value.</summary>
    public string? Old { get; init; }
    public string? New { get; init; }
}

/// <summary>
/// A header that could not be read and was not compared. <paramref name="Message"/>: one line with its name and the
/// reason.
/// </summary>
public sealed record AbiRefusal(string Protocol, string Message);

/// <summary>All differences between two versions, in the order of the old one.</summary>
public sealed record AbiComparison(IReadOnlyList<AbiDifference> Differences)
{
    /// <summary>The headers that could not be read, so that their protocols were not compared.</summary>
    public IReadOnlyList<AbiRefusal> Refused { get; init; } = [];

    /// <summary>Whether there is no difference in what could be compared.</summary>
    public bool IsIdentical => Differences.Count == 0;

    /// <summary>Whether the two still understand each other.</summary>
    public bool IsWireCompatible => Differences.All(d => d.IsWireCompatible);

    /// <summary>identical, compatible or incompatible.</summary>
    public string Verdict =>
        IsIdentical ? "identical"
        : IsWireCompatible ? "compatible"
        : "incompatible";
}
