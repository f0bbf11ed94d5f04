using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Blkring.AbiTools.Import;

/// <summary>
/// The part of libclang's C interface (clang-c/Index.h, stable since LLVM 3.5) that the import needs, with its native
/// names. The library is located at run time, because its file name contains the LLVM version.
/// </summary>
internal static unsafe partial class LibClang
{
    private const string Library = "libclang";

    private const string Missing =
        "libclang is not installed; it is needed to read headers. "
        + "On Debian: apt install libclang1 (or libclang1-14, any version from 11 on).";

    /// <summary>Environment variable: the path of a libclang to use instead of the installed ones.</summary>
    private const string Override = "BLKRING_LIBCLANG";

    private const int OldestVersion = 11;
    private const int NewestVersion = 40;

    static LibClang() => NativeLibrary.SetDllImportResolver(typeof(LibClang).Assembly, Resolve);

    /// <exception cref="LibClangMissingException">No libclang can be loaded.</exception>
    public static void Require()
    {
        try
        {
            Text(clang_getClangVersion());
        }
        catch (Exception error) when (error is DllNotFoundException or EntryPointNotFoundException)
        {
            throw new LibClangMissingException(Missing);
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path) =>
        name == Library ? Candidates().Select(TryLoad).FirstOrDefault(handle => handle != 0) : 0;

    private static nint TryLoad(string file) => NativeLibrary.TryLoad(file, out nint handle) ? handle : 0;

    /// <summary>
    /// The unversioned name first, then the newest version; LLVM's own folders last, because Debian links only some
    /// versions into the search path.
    /// </summary>
    private static IEnumerable<string> Candidates()
    {
        if (Environment.GetEnvironmentVariable(Override) is { Length: > 0 } file)
        {
            yield return file;
            yield break;
        }
        yield return "libclang.so.1";
        for (int version = NewestVersion; version >= OldestVersion; version--)
            yield return string.Create(CultureInfo.InvariantCulture, $"libclang-{version}.so.1");
        for (int version = NewestVersion; version >= OldestVersion; version--)
            yield return string.Create(CultureInfo.InvariantCulture, $"/usr/lib/llvm-{version}/lib/libclang.so.1");
    }

    public struct CXString
    {
        public void* data;
        public uint private_flags;
    }

    public record struct CXCursor
    {
        public int kind;
        public int xdata;
        public nint data0;
        public nint data1;
        public nint data2;
    }

    public struct CXType
    {
        public int kind;
        public nint data0;
        public nint data1;
    }

    public struct CXSourceLocation
    {
        public nint ptr_data0;
        public nint ptr_data1;
        public uint int_data;
    }

    public struct CXSourceRange
    {
        public nint ptr_data0;
        public nint ptr_data1;
        public uint begin_int_data;
        public uint end_int_data;
    }

    [LibraryImport(Library)]
    private static partial CXString clang_getClangVersion();

    [LibraryImport(Library)]
    private static partial byte* clang_getCString(CXString text);

    [LibraryImport(Library)]
    private static partial void clang_disposeString(CXString text);

    [LibraryImport(Library)]
    internal static partial nint clang_createIndex(int excludeDeclarationsFromPch, int displayDiagnostics);

    [LibraryImport(Library)]
    internal static partial void clang_disposeIndex(nint index);

    [LibraryImport(Library)]
    internal static partial int clang_parseTranslationUnit2(
        nint index,
        byte* sourceFile,
        byte** arguments,
        int argumentCount,
        nint unsavedFiles,
        uint unsavedCount,
        uint options,
        out nint unit
    );

    [LibraryImport(Library)]
    internal static partial void clang_disposeTranslationUnit(nint unit);

    [LibraryImport(Library)]
    internal static partial CXCursor clang_getTranslationUnitCursor(nint unit);

    [LibraryImport(Library)]
    internal static partial uint clang_getNumDiagnostics(nint unit);

    [LibraryImport(Library)]
    internal static partial nint clang_getDiagnostic(nint unit, uint index);

    [LibraryImport(Library)]
    internal static partial void clang_disposeDiagnostic(nint diagnostic);

    [LibraryImport(Library)]
    internal static partial int clang_getDiagnosticSeverity(nint diagnostic);

    [LibraryImport(Library)]
    internal static partial CXString clang_getDiagnosticSpelling(nint diagnostic);

    [LibraryImport(Library)]
    internal static partial CXSourceLocation clang_getDiagnosticLocation(nint diagnostic);

    [LibraryImport(Library)]
    internal static partial uint clang_visitChildren(
        CXCursor parent,
        delegate* unmanaged[Cdecl]<CXCursor, CXCursor, nint, int> visitor,
        nint data
    );

    [LibraryImport(Library)]
    internal static partial CXString clang_getCursorSpelling(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial CXSourceLocation clang_getCursorLocation(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial CXSourceRange clang_getCursorExtent(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial CXSourceLocation clang_getRangeStart(CXSourceRange range);

    [LibraryImport(Library)]
    internal static partial CXSourceLocation clang_getRangeEnd(CXSourceRange range);

    [LibraryImport(Library)]
    internal static partial void clang_getExpansionLocation(
        CXSourceLocation location,
        out nint file,
        out uint line,
        out uint column,
        out uint offset
    );

    [LibraryImport(Library)]
    internal static partial void clang_getSpellingLocation(
        CXSourceLocation location,
        out nint file,
        out uint line,
        out uint column,
        out uint offset
    );

    [LibraryImport(Library)]
    internal static partial CXString clang_getFileName(nint file);

    [LibraryImport(Library)]
    internal static partial CXType clang_getCursorType(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial CXType clang_getCanonicalType(CXType type);

    [LibraryImport(Library)]
    internal static partial CXType clang_getTypedefDeclUnderlyingType(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial CXType clang_getEnumDeclIntegerType(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial long clang_getEnumConstantDeclValue(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial CXCursor clang_getTypeDeclaration(CXType type);

    [LibraryImport(Library)]
    internal static partial CXString clang_getTypeSpelling(CXType type);

    [LibraryImport(Library)]
    internal static partial CXType clang_getElementType(CXType type);

    [LibraryImport(Library)]
    internal static partial long clang_getArraySize(CXType type);

    [LibraryImport(Library)]
    internal static partial long clang_Type_getSizeOf(CXType type);

    [LibraryImport(Library)]
    internal static partial long clang_Type_getAlignOf(CXType type);

    [LibraryImport(Library)]
    internal static partial long clang_Cursor_getOffsetOfField(CXCursor field);

    [LibraryImport(Library)]
    internal static partial long clang_Type_getOffsetOf(CXType type, byte* field);

    [LibraryImport(Library)]
    internal static partial int clang_getFieldDeclBitWidth(CXCursor field);

    [LibraryImport(Library)]
    internal static partial uint clang_Cursor_isBitField(CXCursor field);

    [LibraryImport(Library)]
    internal static partial uint clang_Cursor_isAnonymous(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial uint clang_isCursorDefinition(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial uint clang_equalCursors(CXCursor a, CXCursor b);

    [LibraryImport(Library)]
    internal static partial uint clang_hashCursor(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial uint clang_Cursor_isMacroFunctionLike(CXCursor macro);

    [LibraryImport(Library)]
    internal static partial nint clang_Cursor_Evaluate(CXCursor cursor);

    [LibraryImport(Library)]
    internal static partial int clang_EvalResult_getKind(nint result);

    [LibraryImport(Library)]
    internal static partial long clang_EvalResult_getAsLongLong(nint result);

    [LibraryImport(Library)]
    internal static partial uint clang_EvalResult_isUnsignedInt(nint result);

    [LibraryImport(Library)]
    internal static partial ulong clang_EvalResult_getAsUnsigned(nint result);

    [LibraryImport(Library)]
    internal static partial byte* clang_EvalResult_getAsStr(nint result);

    [LibraryImport(Library)]
    internal static partial void clang_EvalResult_dispose(nint result);

    /// <summary>Takes ownership of the string and frees it.</summary>
    internal static string Text(CXString text)
    {
        string copy = Marshal.PtrToStringUTF8((nint)clang_getCString(text)) ?? "";
        clang_disposeString(text);
        return copy;
    }

    /// <summary>The direct children of a cursor, in the order of the source.</summary>
    internal static List<CXCursor> Children(CXCursor parent)
    {
        var children = new List<CXCursor>();
        var handle = GCHandle.Alloc(children);
        // The list outlives the call, which is synchronous.
        _ = clang_visitChildren(parent, &Collect, GCHandle.ToIntPtr(handle));
        handle.Free();
        return children;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Collect(CXCursor cursor, CXCursor parent, nint data)
    {
        ((List<CXCursor>)GCHandle.FromIntPtr(data).Target!).Add(cursor);
        return 1; // CXChildVisit_Continue
    }
}

/// <summary>The CXCursorKind and CXTypeKind values that the import uses (clang-c/Index.h).</summary>
internal static class ClangKind
{
    public const int StructDecl = 2;
    public const int UnionDecl = 3;
    public const int EnumDecl = 5;
    public const int FieldDecl = 6;
    public const int EnumConstantDecl = 7;
    public const int VarDecl = 9;
    public const int TypedefDecl = 20;
    public const int PackedAttr = 408;
    public const int MacroDefinition = 501;
    public const int MacroExpansion = 502;

    public const int TypeBool = 3;
    public const int TypeCharU = 4;
    public const int TypeUChar = 5;
    public const int TypeULong = 10;
    public const int TypeULongLong = 11;
    public const int TypeCharS = 13;
    public const int TypeSChar = 14;
    public const int TypeLong = 18;
    public const int TypeLongLong = 19;
    public const int TypePointer = 101;
    public const int TypeRecord = 105;
    public const int TypeEnum = 106;
    public const int TypeTypedef = 107;
    public const int TypeConstantArray = 112;
    public const int TypeIncompleteArray = 114;
    public const int TypeElaborated = 119;

    public const int EvalInt = 1;
    public const int EvalString = 4;
}
