using System.Runtime.InteropServices;
using System.Text;
using static Blkring.AbiTools.Import.LibClang;

namespace Blkring.AbiTools.Import;

/// <summary>A place in a header; lines count from 1, offsets (UTF-8 bytes) from 0.</summary>
internal readonly record struct Place(string File, int Line, int Column, int Offset)
{
    public override string ToString() => $"{File}:{Line}";
}

/// <summary>An error of the compiler.</summary>
internal sealed record ClangError(Place At, string Message);

/// <summary>One C source as libclang parses it for one target.</summary>
internal sealed unsafe class TranslationUnit : IDisposable
{
    // CXTranslationUnit_DetailedPreprocessingRecord: macros are reported as cursors.
    private const uint Options = 1;
    private const int SeverityError = 3;

    // Keyed by handle. A new unit clears it, because libclang reuses the handles of units that are gone.
    [ThreadStatic]
    private static Dictionary<nint, string>? FileNames;

    private nint _index;
    private nint _unit;

    private TranslationUnit(nint index, nint unit)
    {
        _index = index;
        _unit = unit;
    }

    public CXCursor Root => clang_getTranslationUnitCursor(_unit);

    /// <exception cref="HeaderImportException">
    /// libclang failed for a reason other than an error in the source.
    /// </exception>
    public static TranslationUnit Parse(string file, IEnumerable<string> arguments)
    {
        FileNames?.Clear();
        byte[][] texts = [.. arguments.Append(file).Select(text => Encoding.UTF8.GetBytes(text + "\0"))];
        var pins = texts.Select(text => GCHandle.Alloc(text, GCHandleType.Pinned)).ToArray();
        nint index = clang_createIndex(0, 0);
        try
        {
            byte** pointers = stackalloc byte*[texts.Length];
            for (int i = 0; i < texts.Length; i++)
                pointers[i] = (byte*)pins[i].AddrOfPinnedObject();
            int error = clang_parseTranslationUnit2(
                index,
                pointers[texts.Length - 1],
                pointers,
                texts.Length - 1,
                0,
                0,
                Options,
                out nint unit
            );
            if (error != 0)
            {
                clang_disposeIndex(index);
                throw new HeaderImportException($"{file}: libclang failed with CXErrorCode {error}");
            }
            return new TranslationUnit(index, unit);
        }
        finally
        {
            foreach (GCHandle pin in pins)
                pin.Free();
        }
    }

    public IReadOnlyList<ClangError> Errors()
    {
        var errors = new List<ClangError>();
        for (uint i = 0; i < clang_getNumDiagnostics(_unit); i++)
        {
            nint diagnostic = clang_getDiagnostic(_unit, i);
            if (clang_getDiagnosticSeverity(diagnostic) >= SeverityError)
                errors.Add(
                    new ClangError(
                        Expansion(clang_getDiagnosticLocation(diagnostic)),
                        Text(clang_getDiagnosticSpelling(diagnostic))
                    )
                );
            clang_disposeDiagnostic(diagnostic);
        }
        return errors;
    }

    /// <summary>
    /// The place of the code in the source: for code from a macro, the place where the macro is used.
    /// </summary>
    public static Place Expansion(CXSourceLocation location)
    {
        clang_getExpansionLocation(location, out nint file, out uint line, out uint column, out uint offset);
        return new Place(NameOf(file), (int)line, (int)column, (int)offset);
    }

    /// <summary>The place of the token's text: for code from a macro, within the macro.</summary>
    public static Place Spelling(CXSourceLocation location)
    {
        clang_getSpellingLocation(location, out nint file, out uint line, out uint column, out uint offset);
        return new Place(NameOf(file), (int)line, (int)column, (int)offset);
    }

    /// <summary>
    /// Caches file names: a large header has a million places, and libclang would copy the name for each.
    /// </summary>
    private static string NameOf(nint file)
    {
        if (file == 0)
            return "";
        FileNames ??= [];
        if (!FileNames.TryGetValue(file, out string? name))
            // A header that is included by several paths gets the last of them.
            FileNames[file] = name = Path.GetFullPath(Text(clang_getFileName(file)));
        return name;
    }

    public void Dispose()
    {
        if (_unit != 0)
            clang_disposeTranslationUnit(_unit);
        if (_index != 0)
            clang_disposeIndex(_index);
        _unit = _index = 0;
    }
}
