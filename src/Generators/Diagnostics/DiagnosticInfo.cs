using Blkring.Generators.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Diagnostics;

/// <summary>
/// A diagnostic as a value: Roslyn's own holds a location that roots a syntax tree and compares by reference.
/// </summary>
internal sealed record DiagnosticInfo(
    DiagnosticDescriptor Descriptor,
    TextPosition At,
    EquatableArray<string> Arguments
)
{
    public Diagnostic ToDiagnostic() =>
        Diagnostic.Create(Descriptor, Location.Create(At.Path, At.Span, At.Lines), [.. Arguments]);
}

/// <summary>A place in a spec file.</summary>
internal sealed record TextPosition(string Path, TextSpan Span, LinePositionSpan Lines);
