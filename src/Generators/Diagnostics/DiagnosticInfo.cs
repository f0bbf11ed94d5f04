using Blkring.Generators.Model;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Text;

namespace Blkring.Generators.Diagnostics;

/// <summary>
/// A diagnostic with value equality. Roslyn's own compares by reference and keeps a syntax tree alive.
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
