using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Layout;

/// <summary>
/// What the layout step found: a layout, or the problems that leave the spec without one. Both are free of positions,
/// so a moved line changes neither.
/// </summary>
internal sealed record LayoutResult(ProtocolLayout? Layout, EquatableArray<PartProblem> Problems);

/// <summary>The problems of one spec's layout, in the order in which they are found.</summary>
internal sealed class LayoutProblems(ProtocolSpec spec)
{
    private readonly List<PartProblem> _found = [];

    public bool Any => _found.Count > 0;

    /// <summary>Adds a problem of <paramref name="part"/>, which is an object of the spec's own model.</summary>
    public void Add(DiagnosticDescriptor descriptor, object part, string? attribute, params string[] arguments) =>
        _found.Add(new PartProblem(descriptor, SpecPart.Of(spec, part), attribute, arguments.ToEquatableArray()));

    public EquatableArray<PartProblem> ToArray() => _found.ToEquatableArray();
}
