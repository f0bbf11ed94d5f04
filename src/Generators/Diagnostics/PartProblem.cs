using Blkring.Generators.Model;
using Microsoft.CodeAnalysis;

namespace Blkring.Generators.Diagnostics;

/// <summary>
/// A problem of a part of the model, without a position. <paramref name="Attribute"/>: the attribute at fault, null for
/// the element.
/// </summary>
internal sealed record PartProblem(
    DiagnosticDescriptor Descriptor,
    SpecPart Part,
    string? Attribute,
    EquatableArray<string> Arguments
);
